import java.net.Socket;
import java.security.SecureRandom;
import java.security.cert.X509Certificate;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManager;
import javax.net.ssl.X509TrustManager;

/** TLS of the Java runtime, which is in no library. Own PORT NAME */
public class Own {
    public static void main(String[] words) throws Exception {
        TrustManager anybody = new X509TrustManager() {
            public void checkClientTrusted(X509Certificate[] chain, String kind) {}
            public void checkServerTrusted(X509Certificate[] chain, String kind) {}
            public X509Certificate[] getAcceptedIssuers() { return new X509Certificate[0]; }
        };
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, new TrustManager[] {anybody}, new SecureRandom());
        try (Socket socket = context.getSocketFactory().createSocket("127.0.0.1", Integer.parseInt(words[0]))) {
            System.out.println("hidden " + ProcessHandle.current().pid());
            byte[] buffer = new byte[65536];
            for (int number = 0; number < 10; number++) {
                String body = "java ".repeat(200);
                String head = "POST /echo?trick=" + words[1] + "&n=1500&number=" + number + " HTTP/1.1\r\nHost: localhost\r\nContent-Length: ";
                socket.getOutputStream().write((head + body.length() + "\r\n\r\n" + body).getBytes());
                for (int got = 0; got < 1500;) got += socket.getInputStream().read(buffer);
                Thread.sleep(1000);
            }
        }
    }
}
