"""What frozen means, and the proof that it holds: hashes of frozen tensors, and training steps that are watched."""
