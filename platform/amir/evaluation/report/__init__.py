"""The report page: one HTML file with everything that a reviewer of a model asks for."""
