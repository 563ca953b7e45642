//! `stepgate replay`: a generated month under a changed rule differs where it was made to differ and nowhere else; a
//! real gateway's own log does not differ under its own policy.

#[path = "../kit/month.rs"]
mod month;

mod door;
mod planted;
mod reading;
