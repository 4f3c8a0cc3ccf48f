package projection

import (
	"context"

	"holdmetrics/hold"
)

// FixMeta is [Store.SetMeta] for a caller that makes a store or resumes one. A store
// that was made before stores named their rules counts by none, so other rules
// are a [*MetaError] there, too.
func FixMeta(ctx context.Context, s Store, values map[string]string) error {
	if wanted, ok := values[MetaRules]; ok && wanted != hold.NoRulesVersion {
		// What is fixed is fixed in one step, so a store that has a policy and names no
		// rules is not one that another process is just making.
		stored, err := s.Meta(ctx)
		if err != nil {
			return err
		}
		if _, made := stored[MetaPolicy]; made && stored[MetaRules] == "" {
			return &MetaError{Name: MetaRules, Stored: hold.NoRulesVersion, Wanted: wanted}
		}
	}
	return s.SetMeta(ctx, values)
}
