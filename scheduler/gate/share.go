package gate

import "math"

// share is n of so many.
type share struct{ n, of uint64 }

// part is the share itself; 0 of none.
func (s share) part() float64 {
	if s.of == 0 {
		return 0
	}
	return float64(s.n) / float64(s.of)
}

// scaled is about the same share of n.
func (s share) scaled(n uint64) share {
	return share{uint64(math.Round(s.part() * float64(n))), n}
}

// lower is the smallest share that makes n or more as likely as chance (Clopper and
// Pearson's exact limit, one-sided).
func (s share) lower(chance float64) float64 {
	if s.n == 0 {
		return 0
	}
	if s.isLarge() {
		return s.score(-quantile(chance))
	}
	a, b := float64(s.n), float64(s.of-s.n)+1
	return bisect(func(p float64) bool { return incompleteBeta(p, a, b) < chance })
}

// upper is the largest share that makes n or fewer as likely as chance.
func (s share) upper(chance float64) float64 {
	if s.n >= s.of {
		return 1
	}
	if s.isLarge() {
		return s.score(quantile(chance))
	}
	a, b := float64(s.n)+1, float64(s.of-s.n)
	return bisect(func(p float64) bool { return 1-incompleteBeta(p, a, b) > chance })
}

// isLarge says that the normal approximation is as good.
func (s share) isLarge() bool {
	const enough = 2000
	return s.n > enough && s.of-s.n > enough
}

// score is Wilson's limit, at z standard deviations.
func (s share) score(z float64) float64 {
	n, p := float64(s.of), s.part()
	return (p + z*z/(2*n) + z*math.Sqrt(p*(1-p)/n+z*z/(4*n*n))) / (1 + z*z/n)
}

// quantile is the number of standard deviations that a normal variable exceeds by chance.
func quantile(chance float64) float64 { return math.Sqrt2 * math.Erfinv(1-2*chance) }

func hypot(a, b float64) float64 { return math.Sqrt(a*a + b*b) }

// bisect is where below turns from true to false, between 0 and 1.
func bisect(below func(p float64) bool) float64 {
	low, high := 0.0, 1.0
	for range 60 {
		if mid := (low + high) / 2; below(mid) {
			low = mid
		} else {
			high = mid
		}
	}
	return (low + high) / 2
}

// incompleteBeta is the regularised incomplete beta function I_x(a, b), by its continued
// fraction (DLMF 8.17.22) and the method of Lentz: the chance of a or more successes in
// a+b-1 trials of chance x.
func incompleteBeta(x, a, b float64) float64 {
	switch {
	case x <= 0:
		return 0
	case x >= 1:
		return 1
	case x > (a+1)/(a+b+2): // Converges faster there.
		return 1 - incompleteBeta(1-x, b, a)
	}
	const tiny, exact, most = 1e-300, 1e-13, 20_000
	la, _ := math.Lgamma(a)
	lb, _ := math.Lgamma(b)
	lab, _ := math.Lgamma(a + b)
	front := math.Exp(lab-la-lb+a*math.Log(x)+b*math.Log1p(-x)) / a
	f, c, d := 1.0, 1.0, 0.0
	for i := range most {
		m := float64(i / 2)
		var num float64
		switch {
		case i == 0:
			num = 1
		case i%2 == 0:
			num = m * (b - m) * x / ((a + 2*m - 1) * (a + 2*m))
		default:
			num = -(a + m) * (a + b + m) * x / ((a + 2*m) * (a + 2*m + 1))
		}
		d = 1 + num*d
		if math.Abs(d) < tiny {
			d = tiny
		}
		d = 1 / d
		c = 1 + num/c
		if math.Abs(c) < tiny {
			c = tiny
		}
		f *= c * d
		if math.Abs(1-c*d) < exact {
			break
		}
	}
	return front * (f - 1)
}
