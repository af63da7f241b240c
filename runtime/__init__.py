"""What every process of Tickertape does alike: settings, logs, pulse, pauses."""
