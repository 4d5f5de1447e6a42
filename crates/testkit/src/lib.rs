//! Scenarios, real peers, random trees and an independent tree comparer, for tests.
