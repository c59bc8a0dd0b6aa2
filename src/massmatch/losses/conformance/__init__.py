"""A conformance kit: what every loss should survive, put to any loss, ours or another library's."""
