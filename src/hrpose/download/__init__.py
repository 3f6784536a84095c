"""Downloads: files over HTTP, archives, and the COCO data set."""
