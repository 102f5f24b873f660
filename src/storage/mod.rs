//! Files: segments, log, snapshots, manifest. Knows frames, never keys.
