"""Captions of Flickr images in English, German, French and Czech."""
