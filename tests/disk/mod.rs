//! Disks that fail, fill up or lie, and files that are damaged.

mod damage;
mod damage_node;
mod fails;
mod full;
mod states;
