"""What speaks or writes DICOM and knows neither LGE nor the ledger."""
