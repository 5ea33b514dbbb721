"""What the tests make: configs, records, studies, pages, processes."""
