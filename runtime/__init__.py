"""What every process of Tickertape does alike: settings, logs, pulse, back-off, addresses."""
