//! What the differential test is made of: requests, servers, replies, and what counts as the same.

pub mod compare;
pub mod generator;
pub mod replies;
pub mod servers;
