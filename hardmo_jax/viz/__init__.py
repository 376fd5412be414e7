"""Pictures a person looks at: overlays, reports."""
