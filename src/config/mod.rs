//! The checked configuration.
