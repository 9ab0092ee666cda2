"""Floor 1: functions on tensors, without modules. Each operation is a definition and faster variants of it."""
