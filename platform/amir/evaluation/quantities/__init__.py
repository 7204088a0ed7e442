"""Are the numbers of restored scans right, in HU and SUV, and could the scanner have seen them."""
