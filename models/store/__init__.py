"""Every query and every change of state. Functions take an open session; their caller commits."""
