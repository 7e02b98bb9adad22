"""`flickr8k`: photographs from Flickr with five captions each."""
