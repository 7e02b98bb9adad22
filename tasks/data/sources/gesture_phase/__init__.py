"""`gesture_phase`: Kinect recordings of people telling stories, with the phase of each gesture."""
