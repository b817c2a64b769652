"""Records of many solves, kept so that nothing is lost and nothing is run twice."""
