// Package export_hookswitch_policy_lifecycle takes the policy's configuration.
package export_hookswitch_policy_lifecycle

import (
	"encoding/json"

	. "go.bytecodealliance.org/pkg/wit/types"
)

// Configure returns the reason if the configuration is not good: the operator sees it.
func Configure(text string) Result[Unit, string] {
	if text != "" && !json.Valid([]byte(text)) {
		return Err[Unit]("the configuration is no JSON")
	}
	return Ok[Unit, string](Unit{})
}
