"""The paper's tables and figures, made anew: rows, recipes, the printed numbers, the drawings."""
