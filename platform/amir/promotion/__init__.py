"""From a trained run to the model that people use: the gate, the card, the alias, the export."""
