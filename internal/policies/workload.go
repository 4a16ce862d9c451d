package policies

import "fmt"

// AuthMethod is the method in Consul by which Nomad's tasks log in, as `nomad setup consul`
// names it.
const AuthMethod = "nomad-workloads"

// Workload is a job of Nomad whose tasks are agents: their workload identities are their
// tokens in Nomad, and what they log in to Consul with. Nomad's default identity does not
// end before its allocation does, and the token of Consul is revoked with it.
type Workload struct {
	// Namespace and Job are names of Nomad. The policies have the job's name too, which
	// therefore has letters, digits and dashes alone.
	Namespace, Job string
}

// NomadCommands give the job a policy that is in the file, in Nomad.
func (w Workload) NomadCommands(file string) []string {
	return []string{fmt.Sprintf("nomad acl policy apply -namespace %s -job %s %s %s", w.Namespace, w.Job, w.Job, file)}
}

// ConsulCommands give the tasks of the job a policy that is in the file, in Consul, where
// `nomad setup consul` was run. They need Consul 1.18: before, a rule binds roles only.
func (w Workload) ConsulCommands(file string) []string {
	return []string{
		fmt.Sprintf("consul acl policy create -name %s -rules @%s", w.Job, file),
		fmt.Sprintf("consul acl binding-rule create -method %s -bind-type policy -bind-name %s -selector '%s'", AuthMethod, w.Job, w.selector()),
	}
}

// selector is true for identities of the job's tasks, and not for those of its services.
func (w Workload) selector() string {
	return fmt.Sprintf(`"nomad_service" not in value and value.nomad_namespace == %q and value.nomad_job_id == %q`, w.Namespace, w.Job)
}
