"""What the networks are written in, and what turns them into OpenVINO and torch."""
