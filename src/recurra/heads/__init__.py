"""Floor 3: what stands on top of recurrent layers: outputs, attention, search."""
