"""Pictures of what AQR does to a keyframe: weights and bias windows over bird's-eye view and images."""
