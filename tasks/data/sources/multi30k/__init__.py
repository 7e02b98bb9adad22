"""`multi30k`: captions of Flickr images in English, German, French and Czech."""
