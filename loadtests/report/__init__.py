"""What a comparison found, as files that people look at: JSON, an HTML page, pictures, a table for the terminal."""
