"""Kinect recordings of people who walk, sit, throw and so on."""
