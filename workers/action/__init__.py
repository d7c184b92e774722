"""The action worker: an RQ worker that sends what the calls' owners ask for to Graph, and reports back as facts."""
