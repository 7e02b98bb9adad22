"""Kinect recordings of people who tell stories, with the phase of their gestures."""
