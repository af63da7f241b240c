"""`tickertape up`: Valkey, a local model, the API and workers on one machine, supervised."""
