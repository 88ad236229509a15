//! tapswitch
