//! Every limit and time-to-live that is not the site's to set, with its why.
