"""`tickertape chat` and `watch`: a terminal client of the API."""
