// Package export_hookswitch_policy_request_hook says on every request where it came from, and refuses very old clients.
package export_hookswitch_policy_request_hook

import (
	"strings"

	"wit_component/hookswitch_policy_message"
	. "wit_component/hookswitch_policy_types"

	. "go.bytecodealliance.org/pkg/wit/types"
)

// OnRequest is called for every request but REGISTER, ACK and CANCEL.
func OnRequest(request Summary) Result[Decision, Fault] {
	if hookswitch_policy_message.SetHeader("X-Came-From", request.Side).IsErr() {
		return Err[Decision](Fault{Code: "edit", Detail: "X-Came-From was refused"})
	}
	agent := hookswitch_policy_message.Header("User-Agent").SomeOr("")
	if strings.HasPrefix(agent, "OldPhone/1.") {
		refusal := Reply{Status: 403, Reason: Some("Please update your phone")}
		return Ok[Decision, Fault](MakeDecisionReply(refusal))
	}
	return Ok[Decision, Fault](MakeDecisionNext())
}
