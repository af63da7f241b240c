"""Commands that examine a system: doctor, dead, roles."""
