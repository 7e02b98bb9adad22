"""`utkinect`: Kinect recordings of people walking, sitting, throwing and so on."""
