"""Photographs from Flickr, five captions each."""
