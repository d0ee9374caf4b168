"""How a model with AQR routes its queries: figures over a split, tables, pictures and warnings."""
