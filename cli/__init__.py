"""`tickertape`: the commands that start, use and examine the other packages."""
