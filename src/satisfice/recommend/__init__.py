"""From recorded chains to a calibrated rule."""
