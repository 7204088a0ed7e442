"""How good scans become bad ones: fewer k-space lines, fewer photons, fewer counts."""
