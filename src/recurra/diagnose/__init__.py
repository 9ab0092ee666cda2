"""Floor 3: looking into networks: what their hidden states and gates do over time."""
