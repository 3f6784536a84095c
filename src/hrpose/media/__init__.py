"""Images and videos: which files a source names, and how their pixels are read."""
