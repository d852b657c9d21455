"""What everybody does who has workers and obeys a load manager: act on its verdict, judge how workers end, report."""
