package acme

// Check is check, for tests.
var Check = check
