//! `stepgate backup` and `stepgate restore`, beside a running gateway and without one.
