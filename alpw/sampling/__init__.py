"""Which explored frames are worth a label, and when the campaign is done."""
