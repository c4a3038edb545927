// Lucene as a search engine for `qr bench lucene`, compiled and run by runs/bench/lucene_index.py:
//   index FOLDER        standard input: the text of one product a line. Its row, from 0, is its Lucene document id.
//   search FOLDER K     standard input: one query string a line. Standard output: a line a query, "row:score …", best
//                       first. Standard error: "milliseconds MS", of parsing and searching without starting Java.
// English analyzer (stop words, Porter stemmer), BM25 with Lucene's defaults (k1 1.2, b .75), classic query parser, OR.
import java.io.*;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import org.apache.lucene.analysis.en.EnglishAnalyzer;
import org.apache.lucene.document.*;
import org.apache.lucene.index.*;
import org.apache.lucene.queryparser.classic.QueryParser;
import org.apache.lucene.search.*;
import org.apache.lucene.store.FSDirectory;

public class Lucene {
    static final BufferedReader IN = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));

    public static void main(String[] arguments) throws Exception {
        try (FSDirectory folder = FSDirectory.open(Path.of(arguments[1]))) {
            if (arguments[0].equals("index")) index(folder);
            else search(folder, Integer.parseInt(arguments[2]));
        }
    }

    static void index(FSDirectory folder) throws IOException {
        // LogDocMergePolicy merges neighbouring segments only, which keeps the documents in order.
        IndexWriterConfig config = new IndexWriterConfig(new EnglishAnalyzer()).setMergePolicy(new LogDocMergePolicy());
        try (IndexWriter writer = new IndexWriter(folder, config)) {
            for (String line; (line = IN.readLine()) != null; ) {
                Document product = new Document();
                product.add(new TextField("text", line, Field.Store.NO));
                writer.addDocument(product);
            }
            writer.forceMerge(1);
        }
    }

    static void search(FSDirectory folder, int k) throws Exception {
        PrintStream out = new PrintStream(new FileOutputStream(FileDescriptor.out), false, StandardCharsets.UTF_8);
        QueryParser parser = new QueryParser("text", new EnglishAnalyzer());
        long nanoseconds = 0;
        try (IndexReader reader = DirectoryReader.open(folder)) {
            IndexSearcher searcher = new IndexSearcher(reader);
            for (String line; (line = IN.readLine()) != null; ) {
                long start = System.nanoTime();
                ScoreDoc[] hits = line.isBlank() ? new ScoreDoc[0] : searcher.search(parser.parse(line), k).scoreDocs;
                nanoseconds += System.nanoTime() - start;
                StringBuilder row = new StringBuilder();
                for (ScoreDoc hit : hits) row.append(hit.doc).append(':').append(hit.score).append(' ');
                out.append(row).append('\n');
            }
        }
        out.flush();
        System.err.println("milliseconds " + nanoseconds / 1e6);
    }
}
